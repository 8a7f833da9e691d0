-- Polls that no later poll builds on: older than their source's newest whole download, from which polls are counted, and
-- than its newest success, whose ETag the next request sends.
-- Parameter seconds: how old they must be.
SELECT ctid
FROM bronze.polls AS poll
WHERE finished_at < clock_timestamp() - make_interval(secs => %(seconds)s)
    AND poll_id < (
        SELECT coalesce(max(poll_id) FILTER (WHERE outcome <> 'failed' AND size_bytes IS NOT NULL), max(poll_id))
        FROM bronze.polls AS later
        WHERE later.dataset = poll.dataset AND later.source_url = poll.source_url
    )

-- Messages about alerts, with their deliveries, that no channel has still to take.
-- Parameter seconds: how old they must be.
SELECT m.ctid
FROM bronze.alert_messages AS m
WHERE
    m.created_at < clock_timestamp() - make_interval(secs => %(seconds)s)
    AND NOT EXISTS (
        SELECT 1 FROM bronze.alert_deliveries AS d
        WHERE d.message_id = m.message_id AND d.delivered_at IS NULL AND d.given_up_at IS NULL
    )

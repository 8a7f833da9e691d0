-- Quarantined rows that a person speaks of, and whether their kept text can be cast again.
-- Parameters ids: bigint[], NULL for all; dataset, rule, object_id: NULL for all, which then means open rows only;
-- not_replayable: rules whose rows cannot be replayed.
SELECT
    quarantine_id,
    object_id,
    status,
    NOT EXISTS (
        SELECT FROM jsonb_array_elements(reasons) AS reason WHERE reason ->> 'rule' = ANY (%(not_replayable)s)
    ) AS is_replayable
FROM silver.quarantine
WHERE quarantine_id = ANY (%(ids)s::bigint[])
    OR (
        %(ids)s::bigint[] IS NULL
        AND status = 'open'
        AND (%(dataset)s::text IS NULL OR dataset = %(dataset)s)
        AND (%(object_id)s::uuid IS NULL OR object_id = %(object_id)s)
        AND (%(rule)s::text IS NULL OR reasons @> jsonb_build_array(jsonb_build_object('rule', %(rule)s::text)))
    )
ORDER BY quarantine_id

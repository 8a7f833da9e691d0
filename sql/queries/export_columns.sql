-- The columns of a table or view of silver or gold, in their order: name, type, place in the key (NULL outside it).
-- Parameters schema, name.
SELECT
    attribute.attname AS column_name,
    format_type(attribute.atttypid, NULL) AS column_type,
    array_position(unique_index.indkey::int2[], attribute.attnum) AS key_position
FROM pg_class AS class
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
JOIN pg_attribute AS attribute ON attribute.attrelid = class.oid
LEFT JOIN LATERAL (
    SELECT indkey
    FROM pg_index
    WHERE indrelid = class.oid AND indisunique AND indisvalid AND indpred IS NULL AND indexprs IS NULL
    ORDER BY indisprimary DESC, indexrelid
    LIMIT 1
) AS unique_index ON true
WHERE namespace.nspname = %(schema)s
    AND namespace.nspname IN ('silver', 'gold')
    AND class.relname = %(name)s
    AND class.relkind IN ('r', 'p', 'v', 'm')
    AND attribute.attnum > 0
    AND NOT attribute.attisdropped
ORDER BY attribute.attnum

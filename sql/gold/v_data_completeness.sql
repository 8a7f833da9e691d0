-- name: v_data_completeness
-- description: How many values of each column are known, by dataset.
-- kind: view
-- grain: dataset, column_name
-- depends on: silver.*
-- columns:
--   dataset text: the dataset
--   column_name text: a column of its clean table
--   rows bigint: rows of the table
--   known bigint: rows in which the column is not NULL
--   share_known numeric: known by rows, 0 to 1; NULL where the table is empty

-- @select
-- The function counts in one pass over each table, whichever datasets and columns there are when it is asked.
SELECT
    counts.dataset,
    counts.column_name,
    counts.rows,
    counts.known,
    round(counts.known::numeric / nullif(counts.rows, 0), 6) AS share_known
FROM silver.completeness() AS counts;

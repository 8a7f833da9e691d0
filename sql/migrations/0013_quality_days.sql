-- The primary key alone finds the results of a day, table by table.

DROP INDEX silver.quality_days_by_day;

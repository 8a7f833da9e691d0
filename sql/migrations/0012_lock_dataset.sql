-- Workers that meet at a dataset wait for its lock in the server's queue, and have it the moment it is free. Every half second
-- the caller looks whether the holder still lives: false says that it was not free by then, and leaves the transaction whole.

CREATE FUNCTION silver.lock_dataset(key bigint, is_shared boolean) RETURNS boolean
LANGUAGE plpgsql SET lock_timeout = '500ms' SET search_path = pg_catalog AS $$
BEGIN
    IF is_shared THEN
        PERFORM pg_advisory_xact_lock_shared(key);
    ELSE
        PERFORM pg_advisory_xact_lock(key);
    END IF;
    RETURN true;
EXCEPTION WHEN lock_not_available THEN
    RETURN false;
END
$$;

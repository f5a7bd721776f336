-- Every setting says what is wrong with a value and what was expected.
CREATE EXTENSION pgvigil;
\set VERBOSITY default
ALTER SYSTEM SET pgvigil.repository = 'ftp://host/path';
ALTER SYSTEM SET pgvigil.repository = 'file://relative';
ALTER SYSTEM SET pgvigil.repository = 's3://';
ALTER SYSTEM SET pgvigil.repository = 'file:///a,,file:///b';
ALTER SYSTEM SET pgvigil.repository = 'file:///a, file:///a';
ALTER SYSTEM SET pgvigil.repository = 's3://bucket/prefix?unknown=1';
ALTER SYSTEM SET pgvigil.compression = 'gzip';
ALTER SYSTEM SET pgvigil.compression = 'zstd:99';
ALTER SYSTEM SET pgvigil.compression = 'zstd:';
ALTER SYSTEM SET pgvigil.credentials_file = 'relative/path';
ALTER SYSTEM SET pgvigil.required_repositories = 'most';
ALTER SYSTEM SET pgvigil.required_repositories = '0';
ALTER SYSTEM SET pgvigil.required_repositories = '2x';
ALTER SYSTEM SET pgvigil.archive_look_ahead = 0;
ALTER SYSTEM SET pgvigil.archive_look_ahead = 'many';
ALTER SYSTEM SET pgvigil.backup_threads = 65;
ALTER SYSTEM SET pgvigil.max_rate = '12 parsecs';
ALTER SYSTEM SET pgvigil.skip_wal_file = 'no-wal-file';
ALTER SYSTEM SET pgvigil.auto_first_backup = 'perhaps';
ALTER SYSTEM SET pgvigil.full_schedule = '0 2 * *';
ALTER SYSTEM SET pgvigil.full_schedule = '0 25 * * 0';
ALTER SYSTEM SET pgvigil.incremental_schedule = '0 2 * * MON-FOO';
ALTER SYSTEM SET pgvigil.expire_schedule = '0 3 31 2 *';
ALTER SYSTEM SET pgvigil.verify_schedule = '@fortnightly';
ALTER SYSTEM SET pgvigil.schedule_time_zone = 'Europe/Nowhere';
ALTER SYSTEM SET pgvigil.backup_from = 'nobody';
ALTER SYSTEM SET pgvigil.webhook_url_file = 'relative/path';
ALTER SYSTEM SET pgvigil.stream_interval = 19;
ALTER SYSTEM SET pgvigil.stream_interval = '1 moon';
ALTER SYSTEM SET pgvigil.synchronous = 'perhaps';
ALTER SYSTEM SET pgvigil.writer_term = '1 moon';
ALTER SYSTEM SET pgvigil.tail_cleanup = 2;
-- The bounds themselves are good values.
ALTER SYSTEM SET pgvigil.stream_interval = '20ms';
ALTER SYSTEM SET pgvigil.stream_interval = '1h';
ALTER SYSTEM SET pgvigil.stream_interval = 0;
ALTER SYSTEM RESET pgvigil.stream_interval;
SET pgvigil.no_such_setting = 1;
-- Who may see and change what.
SELECT name, setting, unit, context, vartype, min_val, max_val
FROM pg_settings WHERE name LIKE 'pgvigil.%' ORDER BY name;
CREATE ROLE regress_pgvigil_nobody;
SET ROLE regress_pgvigil_nobody;
-- The words differ between versions, the SQLSTATE does not.
DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['repository', 'credentials_file', 'also_archive_command', 'compression'] LOOP
        BEGIN
            RAISE NOTICE '% is shown: "%"', name, current_setting('pgvigil.' || name);
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE NOTICE '% is not shown', name;
        END;
    END LOOP;
END $$;
SET pgvigil.compression = 'lz4';
RESET ROLE;
DROP ROLE regress_pgvigil_nobody;
DROP EXTENSION pgvigil;

\echo Use "CREATE EXTENSION pgvigil" to load this file. \quit

CREATE FUNCTION pgv_backup_now(
    kind text DEFAULT 'auto',
    annotations jsonb DEFAULT '{}',
    wait boolean DEFAULT true,
    fast boolean DEFAULT true)
RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION pgv_backup_now(text, jsonb, boolean, boolean) IS
    'makes a backup and returns its id; kind is auto, full or incremental';

CREATE FUNCTION pgv_cancel_backup()
RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION pgv_cancel_backup() IS 'ends the running backup; false when there is none';

CREATE FUNCTION pgv_check(OUT "check" text, OUT ok boolean, OUT detail text)
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 20;
COMMENT ON FUNCTION pgv_check() IS
    'checks settings, every repository by a write-read-delete round trip, and the way of a WAL segment';

CREATE FUNCTION pgv_verify(
    backup_id text DEFAULT NULL,
    OUT repository text,
    OUT backup text,
    OUT ok boolean,
    OUT objects bigint,
    OUT bytes bigint,
    OUT object text,
    OUT problem text)
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 20;
COMMENT ON FUNCTION pgv_verify(text) IS
    'reads and checks every stored byte of a backup and of those it builds on, or of all backups';

CREATE FUNCTION pgv_take_over(reason text, only_if_silent boolean DEFAULT false)
RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION pgv_take_over(text, boolean) IS
    'makes this server the one that writes the repository; returns the new epoch';

CREATE FUNCTION pgv_accept_repository()
RETURNS SETOF text
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 2;
COMMENT ON FUNCTION pgv_accept_repository() IS
    'makes the repositories that pgvigil.repository names known to this server, new ones included; returns them';

CREATE FUNCTION pgv_expire(
    dry_run boolean DEFAULT true,
    confirm boolean DEFAULT false,
    OUT repository text,
    OUT kind text,
    OUT object text,
    OUT action text,
    OUT reason text,
    OUT bytes bigint,
    OUT objects bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 100;
COMMENT ON FUNCTION pgv_expire(boolean, boolean) IS
    'says what the settings retention_* keep and let go and, with dry_run => false, deletes what they let go';

CREATE FUNCTION pgv_refresh()
RETURNS void
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION pgv_refresh() IS
    'reads anew what the repositories hold; by itself that happens every minute';

CREATE FUNCTION pgv_keep(backup_id text, until timestamptz DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION pgv_keep(text, timestamptz) IS
    'keeps a backup, for ever or until a time, whatever the settings retention_* say';

CREATE FUNCTION pgv_release(backup_id text)
RETURNS void
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION pgv_release(text) IS 'ends what pgv_keep() began';

CREATE FUNCTION pgv_restore_plan(
    target_time timestamptz DEFAULT NULL,
    target_lsn pg_lsn DEFAULT NULL,
    target_xid bigint DEFAULT NULL,
    target_name text DEFAULT NULL,
    target_immediate boolean DEFAULT false,
    timeline text DEFAULT 'latest',
    backup_id text DEFAULT NULL,
    inclusive boolean DEFAULT true,
    OUT step integer,
    OUT action text,
    OUT object text,
    OUT objects bigint,
    OUT bytes bigint,
    OUT estimate interval,
    OUT detail text)
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 8;
COMMENT ON FUNCTION pgv_restore_plan(timestamptz, pg_lsn, bigint, text, boolean, text, text, boolean) IS
    'what a restore to the target would fetch and replay; an error says why the target cannot be reached, and what can';

CREATE FUNCTION pgv_restore_command(
    data_directory text,
    target_time timestamptz DEFAULT NULL,
    target_lsn pg_lsn DEFAULT NULL,
    target_xid bigint DEFAULT NULL,
    target_name text DEFAULT NULL,
    target_immediate boolean DEFAULT false,
    timeline text DEFAULT 'latest',
    backup_id text DEFAULT NULL,
    inclusive boolean DEFAULT true)
RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION pgv_restore_command(text, timestamptz, pg_lsn, bigint, text, boolean, text, text, boolean) IS
    'the shell command that restores to the target';

CREATE FUNCTION pgv_read_status(
    OUT ok boolean,
    OUT summary text,
    OUT role text,
    OUT epoch bigint,
    OUT role_message text,
    OUT role_hint text,
    OUT writer_instance text,
    OUT writer_host text,
    OUT lease text,
    OUT archiving boolean,
    OUT durable_timeline bigint,
    OUT durable_lsn pg_lsn,
    OUT current_lsn pg_lsn,
    OUT lag_bytes bigint,
    OUT lag interval,
    OUT stream_mode text,
    OUT stream_failing_since timestamptz,
    OUT downgraded_since timestamptz,
    OUT streamed_objects_per_minute double precision,
    OUT streamed_bytes_per_minute double precision,
    OUT requests_per_month bigint,
    OUT waiting_files bigint,
    OUT waiting_bytes bigint,
    OUT failing_since timestamptz,
    OUT last_error text,
    OUT last_error_time timestamptz,
    OUT window_from timestamptz,
    OUT window_to timestamptz,
    OUT window_from_lsn pg_lsn,
    OUT window_to_lsn pg_lsn,
    OUT backups integer,
    OUT last_backup text,
    OUT last_backup_time timestamptz,
    OUT last_backup_bad_pages bigint,
    OUT backup_running boolean,
    OUT disk_free_bytes bigint,
    OUT disk_total_bytes bigint,
    OUT wal_bytes_per_second double precision,
    OUT disk_time_left interval,
    OUT catalog_time timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 1;

CREATE FUNCTION pgv_read_archiver(
    OUT pid integer,
    OUT archived_count bigint,
    OUT failed_count bigint,
    OUT let_go_count bigint,
    OUT last_archived_file text,
    OUT last_archived_time timestamptz,
    OUT last_failed_file text,
    OUT last_failed_time timestamptz,
    OUT last_error text,
    OUT failing_since timestamptz,
    OUT in_flight integer,
    OUT owed_files integer,
    OUT waiting_files bigint,
    OUT waiting_bytes bigint,
    OUT oldest_waiting timestamptz,
    OUT plain_bytes bigint,
    OUT stored_bytes bigint,
    OUT retries bigint,
    OUT durable_timeline bigint,
    OUT durable_lsn pg_lsn,
    OUT stats_reset timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 1;

CREATE FUNCTION pgv_read_progress(
    OUT backup_id text,
    OUT kind text,
    OUT parent text,
    OUT phase text,
    OUT pid integer,
    OUT requested_by text,
    OUT automatic boolean,
    OUT requested_at timestamptz,
    OUT started_at timestamptz,
    OUT percent double precision,
    OUT bytes_total bigint,
    OUT bytes_done bigint,
    OUT bytes_stored bigint,
    OUT bytes_reused bigint,
    OUT blocks_changed bigint,
    OUT files_total bigint,
    OUT files_done bigint,
    OUT tablespaces_total integer,
    OUT tablespaces_done integer,
    OUT bad_pages bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 1;

CREATE FUNCTION pgv_read_repositories(
    OUT url text,
    OUT id text,
    OUT ok boolean,
    OUT backups integer,
    OUT conditional_create boolean,
    OUT last_ok timestamptz,
    OUT failing_since timestamptz,
    OUT last_error text)
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 2;

CREATE FUNCTION pgv_read_jobs(
    OUT job text,
    OUT schedule text,
    OUT time_zone text,
    OUT next_run timestamptz,
    OUT running boolean,
    OUT running_since timestamptz,
    OUT due_since timestamptz,
    OUT note text,
    OUT last_run timestamptz,
    OUT last_outcome text,
    OUT last_success timestamptz,
    OUT failures integer,
    OUT last_error text,
    OUT retry_at timestamptz,
    OUT webhook_error text)
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 4;

CREATE FUNCTION pgv_read_job_history(
    OUT job text,
    OUT backup_id text,
    OUT trigger text,
    OUT scheduled_for timestamptz,
    OUT started_at timestamptz,
    OUT ended_at timestamptz,
    OUT outcome text,
    OUT bytes bigint,
    OUT message text,
    OUT node text)
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 100;

CREATE FUNCTION pgv_read_backups(
    OUT repository text,
    OUT backup_id text,
    OUT kind text,
    OUT chain text,
    OUT parent text,
    OUT started_at timestamptz,
    OUT stopped_at timestamptz,
    OUT duration interval,
    OUT timeline bigint,
    OUT start_lsn pg_lsn,
    OUT stop_lsn pg_lsn,
    OUT from_standby boolean,
    OUT restorable boolean,
    OUT files bigint,
    OUT logical_bytes bigint,
    OUT new_bytes bigint,
    OUT reused_bytes bigint,
    OUT stored_bytes bigint,
    OUT blocks_changed bigint,
    OUT bytes_per_second double precision,
    OUT bad_pages bigint,
    OUT damage jsonb,
    OUT annotations jsonb,
    OUT parents text[],
    OUT needed_by text[],
    OUT keep_until timestamptz,
    OUT server_version integer,
    OUT product_version text,
    OUT compression text,
    OUT host text)
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 100;

CREATE FUNCTION pgv_read_chains(
    OUT repository text,
    OUT chain text,
    OUT backups integer,
    OUT backup_ids text[],
    OUT from_time timestamptz,
    OUT to_time timestamptz,
    OUT timelines bigint[],
    OUT logical_bytes bigint,
    OUT stored_bytes bigint,
    OUT restorable boolean,
    OUT newest text,
    OUT missing text[])
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 20;

CREATE FUNCTION pgv_read_wal_ranges(
    OUT repository text,
    OUT timeline bigint,
    OUT state text,
    OUT from_lsn pg_lsn,
    OUT to_lsn pg_lsn,
    OUT first_segment text,
    OUT last_segment text,
    OUT segments bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 10;

CREATE FUNCTION pgv_read_recovery_windows(
    OUT repository text,
    OUT timeline bigint,
    OUT from_time timestamptz,
    OUT to_time timestamptz,
    OUT from_lsn pg_lsn,
    OUT to_lsn pg_lsn,
    OUT backups text[])
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 2;

CREATE VIEW pgv_status AS SELECT * FROM pgv_read_status();
COMMENT ON VIEW pgv_status IS 'one row: is this cluster recoverable now, up to where, and what stands in the way';
CREATE VIEW pgv_archiver AS SELECT * FROM pgv_read_archiver();
COMMENT ON VIEW pgv_archiver IS 'one row: what the archive module has done and what waits for it';
CREATE VIEW pgv_progress AS SELECT * FROM pgv_read_progress();
COMMENT ON VIEW pgv_progress IS 'the backup that runs now';
CREATE VIEW pgv_repositories AS SELECT * FROM pgv_read_repositories();
COMMENT ON VIEW pgv_repositories IS 'the repositories that pgvigil.repository names, as last seen';
CREATE VIEW pgv_jobs AS SELECT * FROM pgv_read_jobs();
COMMENT ON VIEW pgv_jobs IS 'the jobs that run by schedule: when next, how it went last';
CREATE VIEW pgv_job_history AS SELECT * FROM pgv_read_job_history();
COMMENT ON VIEW pgv_job_history IS 'the newest runs of every job, by schedule and by SQL';
CREATE VIEW pgv_backups AS SELECT * FROM pgv_read_backups();
COMMENT ON VIEW pgv_backups IS 'the backups of this cluster, as the catalog was last read';
CREATE VIEW pgv_chains AS SELECT * FROM pgv_read_chains();
COMMENT ON VIEW pgv_chains IS 'full backups with what was built on them';
CREATE VIEW pgv_wal_ranges AS SELECT * FROM pgv_read_wal_ranges();
COMMENT ON VIEW pgv_wal_ranges IS 'the WAL that is stored, and the gaps in it';
CREATE VIEW pgv_recovery_windows AS SELECT * FROM pgv_read_recovery_windows();
COMMENT ON VIEW pgv_recovery_windows IS 'from when to when this cluster can be restored';

-- A view checks its functions' permissions as the user who reads it.
REVOKE ALL ON FUNCTION
    pgv_backup_now(text, jsonb, boolean, boolean),
    pgv_cancel_backup(),
    pgv_check(),
    pgv_verify(text),
    pgv_take_over(text, boolean),
    pgv_accept_repository(),
    pgv_expire(boolean, boolean),
    pgv_refresh(),
    pgv_keep(text, timestamptz),
    pgv_release(text),
    pgv_restore_plan(timestamptz, pg_lsn, bigint, text, boolean, text, text, boolean),
    pgv_restore_command(text, timestamptz, pg_lsn, bigint, text, boolean, text, text, boolean),
    pgv_read_status(),
    pgv_read_archiver(),
    pgv_read_progress(),
    pgv_read_repositories(),
    pgv_read_jobs(),
    pgv_read_job_history(),
    pgv_read_backups(),
    pgv_read_chains(),
    pgv_read_wal_ranges(),
    pgv_read_recovery_windows()
FROM PUBLIC;
REVOKE ALL ON
    pgv_status, pgv_archiver, pgv_progress, pgv_repositories, pgv_jobs, pgv_job_history, pgv_backups, pgv_chains,
    pgv_wal_ranges, pgv_recovery_windows
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    pgv_read_status(),
    pgv_read_archiver(),
    pgv_read_progress(),
    pgv_read_repositories(),
    pgv_read_jobs(),
    pgv_read_job_history(),
    pgv_read_backups(),
    pgv_read_chains(),
    pgv_read_wal_ranges(),
    pgv_read_recovery_windows()
TO pg_monitor;
GRANT SELECT ON
    pgv_status, pgv_archiver, pgv_progress, pgv_repositories, pgv_jobs, pgv_job_history, pgv_backups, pgv_chains,
    pgv_wal_ranges, pgv_recovery_windows
TO pg_monitor;

-- What is asked wrongly is refused in words, with a SQLSTATE. No repository is set here.
CREATE EXTENSION pgvigil;
DO $$
DECLARE
    call text;
    state text; message text; detail text; hint text;
BEGIN
    FOREACH call IN ARRAY ARRAY[
        'SELECT pgv_backup_now(''differential'')',
        'SELECT pgv_backup_now(''incremental'')',
        'SELECT pgv_backup_now('''')',
        'SELECT pgv_backup_now(''full'', ''[1, 2]'')',
        'SELECT pgv_backup_now(''full'', jsonb_build_object(''a'', repeat(''x'', 5000)))',
        'SELECT pgv_backup_now()',
        'SELECT pgv_backup_now(NULL)',
        'SELECT pgv_backup_now(wait => NULL)',
        'SELECT pgv_verify()',
        'SELECT pgv_take_over(NULL)',
        'SELECT pgv_take_over(''  '')',
        'SELECT pgv_take_over(''because'')',
        'SELECT pgv_expire()',
        'SELECT pgv_expire(NULL)',
        'SELECT pgv_expire(false, NULL)',
        'SELECT pgv_refresh()',
        'SELECT pgv_keep(NULL)',
        'SELECT pgv_keep(''20261120T084013F'')',
        'SELECT pgv_release(NULL)',
        'SELECT pgv_release(''20261120T084013F'')',
        'SELECT pgv_accept_repository()',
        'SELECT * FROM pgv_restore_plan()',
        'SELECT * FROM pgv_restore_plan(target_time => now(), target_xid => 5)',
        'SELECT * FROM pgv_restore_plan(target_time => ''infinity'')',
        'SELECT * FROM pgv_restore_plan(target_xid => 2)',
        'SELECT * FROM pgv_restore_plan(target_name => repeat(''x'', 64))',
        'SELECT * FROM pgv_restore_plan(timeline => ''newest'')',
        'SELECT * FROM pgv_restore_plan(backup_id => ''../etc'')',
        'SELECT pgv_restore_command(NULL)',
        'SELECT pgv_restore_command('''')',
        'SELECT pgv_restore_command(''/srv/pg'')'] LOOP
        BEGIN
            EXECUTE call;
            RAISE NOTICE '%: no error', call;
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
                                    detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
            RAISE NOTICE E'%\n  % %\n  detail: %\n  hint: %', call, state, message, detail, hint;
        END;
    END LOOP;
END $$;
SELECT pgv_cancel_backup();
SELECT "check", ok FROM pgv_check() WHERE "check" NOT IN ('archive_mode', 'archive_library', 'wal_level', 'full_page_writes');
-- The keeper has to have looked once.
DO $$
BEGIN
    FOR i IN 1..100 LOOP
        EXIT WHEN (SELECT role <> 'unknown' FROM pgv_status);
        PERFORM pg_sleep(0.1);
    END LOOP;
END $$;
SELECT ok, summary, role, backups, last_backup, backup_running FROM pgv_status;
-- And the scheduler.
DO $$
BEGIN
    FOR i IN 1..100 LOOP
        EXIT WHEN (SELECT bool_or(schedule IS NOT NULL) FROM pgv_jobs);
        PERFORM pg_sleep(0.1);
    END LOOP;
END $$;
SELECT job, schedule, time_zone IS NOT NULL AS has_zone, next_run > now() AS next, running, due_since, last_run, failures
FROM pgv_jobs;
SELECT * FROM pgv_job_history;
SELECT * FROM pgv_progress;
SELECT * FROM pgv_backups;
SELECT * FROM pgv_chains;
SELECT * FROM pgv_wal_ranges;
SELECT * FROM pgv_recovery_windows;
DROP EXTENSION pgvigil;

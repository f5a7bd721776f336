-- Nothing is for everybody; the views are for pg_monitor.
CREATE EXTENSION pgvigil;
CREATE ROLE regress_pgvigil_nobody;
CREATE ROLE regress_pgvigil_monitor IN ROLE pg_monitor;

SELECT p.proname, pg_get_function_identity_arguments(p.oid) AS arguments, pg_get_function_result(p.oid) <> '' AS has_result,
       has_function_privilege('regress_pgvigil_nobody', p.oid, 'EXECUTE') AS nobody,
       has_function_privilege('regress_pgvigil_monitor', p.oid, 'EXECUTE') AS monitor
FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pgvigil'
WHERE p.proname NOT LIKE 'pgv\_read\_%'
ORDER BY p.proname COLLATE "C";

SELECT c.relname,
       has_table_privilege('regress_pgvigil_nobody', c.oid, 'SELECT') AS nobody,
       has_table_privilege('regress_pgvigil_monitor', c.oid, 'SELECT') AS monitor
FROM pg_class c JOIN pg_depend d ON d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'e'
JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pgvigil'
ORDER BY c.relname COLLATE "C";

SET ROLE regress_pgvigil_nobody;
SELECT pgv_backup_now();
SELECT pgv_cancel_backup();
SELECT * FROM pgv_check();
SELECT * FROM pgv_verify();
SELECT pgv_take_over('because');
SELECT pgv_accept_repository();
SELECT * FROM pgv_restore_plan();
SELECT pgv_restore_command('/srv/pg');
SELECT * FROM pgv_status;
SELECT * FROM pgv_backups;
SELECT * FROM pgv_read_status();
RESET ROLE;

SET ROLE regress_pgvigil_monitor;
SELECT count(*) FROM pgv_status;
SELECT count(*) FROM pgv_archiver;
SELECT count(*) FROM pgv_progress;
SELECT count(*) FROM pgv_repositories;
SELECT count(*) FROM pgv_jobs;
SELECT count(*) FROM pgv_job_history;
SELECT count(*) FROM pgv_backups;
SELECT count(*) FROM pgv_chains;
SELECT count(*) FROM pgv_wal_ranges;
SELECT count(*) FROM pgv_recovery_windows;
SELECT pgv_backup_now();
RESET ROLE;

DROP ROLE regress_pgvigil_nobody, regress_pgvigil_monitor;
DROP EXTENSION pgvigil;

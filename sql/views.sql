-- The columns of the views are a contract.
CREATE EXTENSION pgvigil;
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) AS type
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relname IN ('pgv_status', 'pgv_archiver', 'pgv_progress', 'pgv_repositories', 'pgv_backups', 'pgv_chains', 'pgv_wal_ranges',
                    'pgv_recovery_windows', 'pgv_jobs', 'pgv_job_history')
ORDER BY c.relname COLLATE "C", a.attnum;
DROP EXTENSION pgvigil;

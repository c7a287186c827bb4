-- A deployment's pool: spare instances beyond the busy ones, and how long an idle one stays (null: as long as the runner keeps any).

alter table deployment_release add column instances_buffer bigint not null default 0;
alter table deployment_release add column idle_seconds bigint;

-- Releases that run nothing but what the model's publisher has signed.

alter table deployment_release add column require_signature bigint not null default 0 check (require_signature in (0, 1));

-- Files that callers upload and that predictions put out.

create table file (
    id text not null primary key,
    account_id text not null,
    prediction_id text,
    name text not null,
    content_type text not null,
    size bigint not null check (size >= 0),
    digest text not null,
    metadata text not null default '{}',
    created_at bigint not null,
    expires_at bigint,
    deleted_at bigint
);

create index file_of_account on file (account_id, created_at desc, id);
create index file_of_prediction on file (prediction_id) where prediction_id is not null;
create index file_by_expiry on file (expires_at) where deleted_at is null and expires_at is not null;
create index file_by_digest on file (digest);

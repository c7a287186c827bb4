-- Content-addressed bytes that the object store holds, and the uploads that are still under way.

create table blob (
    digest text not null primary key,
    size bigint not null check (size >= 0),
    media_type text not null,
    created_at bigint not null
);

create table blob_upload (
    id text not null primary key,
    account_id text not null references account (id),
    digest_expected text,
    received bigint not null default 0 check (received >= 0),
    created_at bigint not null,
    expires_at bigint not null
);

create index blob_upload_by_expiry on blob_upload (expires_at);

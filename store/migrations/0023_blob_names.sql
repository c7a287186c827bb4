-- Which blobs there are, when they were last asked for, and what names them.

-- Of the first days, and never filled: what is under way stands in the spool.
drop table blob_upload;
drop table blob;

-- A blob that is here or on its way. When nothing names it and nobody has touched it for a while, it goes.
create table blob (
    digest text not null primary key,
    touched_at bigint not null
);

create index blob_by_touch on blob (touched_at);

-- What a version's manifest names: itself, its config, its files and its hooks.
create table version_blob (
    model_id text not null references model (id),
    version_id text not null,
    digest text not null,
    primary key (model_id, version_id, digest)
);

create index version_blob_by_digest on version_blob (digest);

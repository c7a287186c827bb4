-- Which blobs there are, and when they were last asked for.

-- Of the first days, and never filled: what is under way stands in the spool.
drop table blob_upload;
drop table blob;

-- A blob that is here or on its way. When nothing names it and nobody has touched it for a while, it goes.
create table blob (
    digest text not null primary key,
    touched_at bigint not null
);

create index blob_by_touch on blob (touched_at);

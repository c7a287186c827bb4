-- What accounts keep, and how much they may.

-- A blob counts in full for each account that keeps it: because a version of its models names it, or because it has just sent it.
create table holding (
    account_id text not null references account (id),
    digest text not null,
    size bigint not null check (size >= 0),
    touched_at bigint not null,
    primary key (account_id, digest)
);

create index holding_by_touch on holding (touched_at);

-- Bytes; null is what the house allows everyone.
alter table account add column storage_limit bigint check (storage_limit >= 0);

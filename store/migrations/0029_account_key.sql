-- Public keys with which an account signs what it publishes. A key that is revoked stays: signatures name it.

create table account_key (
    account_id text not null references account (id),
    -- The SHA-256 of its PEM.
    id text not null,
    name text not null default '',
    public_key text not null,
    created_at bigint not null,
    -- From when on it is not to be believed; only ever moved to an earlier moment.
    revoked_at bigint,
    primary key (account_id, id)
);

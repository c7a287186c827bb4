-- Who may call, and the secrets they call with.

create table account (
    id text not null primary key,
    name text not null unique,
    type text not null default 'user' check (type in ('user', 'organization')),
    display_name text not null default '',
    is_operator bigint not null default 0 check (is_operator in (0, 1)),
    webhook_secret text not null,
    created_at bigint not null
);

create table token (
    id text not null primary key,
    account_id text not null references account (id),
    name text not null,
    secret_hash text not null unique,
    scopes text not null default '[]',
    created_at bigint not null,
    last_used_at bigint,
    expires_at bigint,
    revoked_at bigint
);

create index token_of_account on token (account_id, created_at desc);

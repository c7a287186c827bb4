-- The prediction row is the queue entry: a gateway drives it under a lease, and every write of it names the fence.
-- No foreign keys here: a hot row would take a lock on its account's row on PostgreSQL.

create table prediction (
    id text not null primary key,
    account_id text not null,
    token_id text not null,
    model_owner text not null,
    model_name text not null,
    version_id text not null,
    deployment text,
    source text not null,
    input text not null,
    -- What the model is given, where a `before` hook replaced the input.
    model_input text,
    -- The price agreed at admit, as JSON.
    pricing text not null,
    output text,
    logs text not null default '',
    error text,
    -- Whose fault a failure was, and its code.
    fault text,
    code text,
    state text not null check (state in ('queued', 'leased', 'running', 'succeeded', 'failed', 'canceled', 'aborted')),
    metrics text not null default '{}',
    -- What the version's hooks did.
    hooks text,
    -- Nano-dollars; null until the prediction is terminal.
    cost bigint check (cost >= 0),
    cost_lines text,
    hold bigint not null default 0 check (hold >= 0),
    data_removed bigint not null default 0 check (data_removed in (0, 1)),
    cancel_requested_at bigint,
    created_at bigint not null,
    started_at bigint,
    completed_at bigint,
    deadline_at bigint,
    -- The boot of the gateway that drives it, the fencing token, and when the lease ends.
    driver text not null,
    fence bigint not null,
    lease_until bigint not null,
    attempt bigint not null default 1,
    emitted bigint not null default 0,
    hardware text not null,
    region text not null,
    runner text,
    warmth text,
    timings text,
    stream_key text,
    webhook text,
    webhook_events text,
    -- The stream of a finished one, for replay.
    event_log text,
    check ((completed_at is null) = (state in ('queued', 'leased', 'running')))
);

create index prediction_of_account on prediction (account_id, created_at desc, id);
create index prediction_of_model on prediction (model_owner, model_name, created_at);
create index prediction_by_lease on prediction (lease_until) where completed_at is null;

create table idempotency (
    account_id text not null,
    key text not null,
    body_hash text not null,
    prediction_id text not null,
    created_at bigint not null,
    primary key (account_id, key)
);

create index idempotency_by_age on idempotency (created_at);

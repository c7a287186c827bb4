-- Events to deliver, written in the transaction of the state they tell of; id and body are fixed then.

create table webhook_outbox (
    id text not null primary key,
    prediction_id text not null,
    account_id text not null,
    url text not null,
    event text not null,
    body text not null,
    attempts bigint not null default 0,
    next_try_at bigint not null,
    delivered_at bigint,
    -- Set when the endpoint is gone or every try was used.
    abandoned_at bigint,
    last_status bigint,
    created_at bigint not null
);

create index webhook_outbox_due on webhook_outbox (next_try_at) where delivered_at is null and abandoned_at is null;
create index webhook_outbox_of_account on webhook_outbox (account_id, created_at desc, id);
create index webhook_outbox_of_prediction on webhook_outbox (prediction_id);

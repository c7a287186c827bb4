-- How webhooks are delivered: by endpoint, each row with so many tries left, and what each try met.

-- Where the caller reached us, for the addresses in what its webhook is told; null without a webhook.
alter table prediction add column origin text;

-- Scheme, host and port: what one slow receiver must not hold up for others.
alter table webhook_outbox add column endpoint text not null default '';
alter table webhook_outbox add column tries_left bigint not null default 0;
alter table webhook_outbox add column last_error text;

-- Ids sort by time.
drop index webhook_outbox_of_account;
create index webhook_outbox_of_account on webhook_outbox (account_id, id);
create index webhook_outbox_by_age on webhook_outbox (created_at);

create table webhook_attempt (
    delivery_id text not null,
    number bigint not null,
    at bigint not null,
    status bigint,
    error text,
    duration_us bigint not null,
    primary key (delivery_id, number)
);

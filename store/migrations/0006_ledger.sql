-- Double entry in nano-dollars. Entries are only ever added; a balance is the sum of its account's entries.

-- Accounts: 'credit:ID' and 'held:ID' of a caller, 'payable:ID' of a publisher, and the platform's 'fee', 'promo', 'loss' and
-- 'external'. The last three are where money comes from or is given up, so they alone may stand below zero.
create table balance (
    account text not null primary key,
    amount bigint not null check (amount >= 0 or account in ('promo', 'loss', 'external'))
);

-- 'hold:PREDICTION' and 'settle:PREDICTION' as primary keys make a second hold or settlement impossible.
create table ledger_tx (
    id text not null primary key,
    kind text not null check (kind in ('grant', 'payment', 'hold', 'capture', 'void', 'refund', 'reversal')),
    prediction_id text,
    memo text not null default '',
    created_at bigint not null
);

-- Hold and settlement are found by their ids; only refunds have to be looked for.
create index ledger_refund_of_prediction on ledger_tx (prediction_id) where kind = 'refund';

create table ledger_entry (
    tx text not null,
    account text not null,
    amount bigint not null check (amount <> 0),
    created_at bigint not null,
    primary key (tx, account)
);

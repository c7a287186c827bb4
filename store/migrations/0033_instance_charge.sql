-- Time for which a deployment's own instances are kept waiting is charged to its account. Neither engine can widen a check in the same words, so the
-- table is made anew; its rows are as they were.

create table ledger_tx_widened (
    id text not null primary key,
    kind text not null check (kind in ('grant', 'payment', 'hold', 'capture', 'void', 'refund', 'reversal', 'instance')),
    prediction_id text,
    memo text not null default '',
    created_at bigint not null
);
insert into ledger_tx_widened (id, kind, prediction_id, memo, created_at) select id, kind, prediction_id, memo, created_at from ledger_tx;
drop table ledger_tx;
alter table ledger_tx_widened rename to ledger_tx;
create index ledger_refund_of_prediction on ledger_tx (prediction_id) where kind = 'refund';

-- How much of what a runner has counted since its start was charged, in microseconds.
create table instance_meter (
    boot text not null,
    deployment text not null,
    hardware text not null,
    charged_us bigint not null check (charged_us >= 0),
    charged_at bigint not null,
    primary key (boot, deployment, hardware)
);

-- Models that change hands: what is offered to whom, and where models were before.

create table model_offer (
    model_id text not null primary key references model (id),
    to_account text not null references account (id),
    offered_at bigint not null
);

create index model_offer_by_account on model_offer (to_account);

-- An address that a model has left still leads to it, and is given to no other.
create table model_address (
    owner text not null,
    name text not null,
    model_id text not null references model (id),
    left_at bigint not null,
    primary key (owner, name)
);

create index model_address_by_model on model_address (model_id);

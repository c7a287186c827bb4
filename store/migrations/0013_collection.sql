-- Shelves of the shop: models that operators put together.

create table collection (
    id text not null primary key,
    slug text not null unique,
    name text not null,
    description text not null default '',
    full_description text,
    created_at bigint not null
);

create index collection_by_age on collection (created_at desc, id);

create table collection_model (
    collection_id text not null references collection (id),
    -- In the order in which the operator named them.
    position bigint not null,
    model_owner text not null,
    model_name text not null,
    primary key (collection_id, position)
);

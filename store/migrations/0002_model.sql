-- What can be run: models, their immutable versions, and the history of the tags that point at them.

create table model (
    id text not null unique,
    owner text not null,
    name text not null,
    description text not null default '',
    visibility text not null default 'public' check (visibility in ('public', 'private')),
    hardware text not null,
    github_url text,
    paper_url text,
    license_url text,
    cover_image_url text,
    weights_url text,
    readme text not null default '',
    run_count bigint not null default 0,
    is_official bigint not null default 0 check (is_official in (0, 1)),
    -- The price as `protocol::Pricing` in JSON; null is the hardware's price by the second.
    price text,
    task text,
    latest_version_id text,
    default_example_id text,
    created_at bigint not null,
    primary key (owner, name)
);

create index model_by_age on model (created_at desc, id);

-- The same manifest may be pushed to two models: it is the same version id under each.
create table version (
    id text not null,
    model_id text not null references model (id),
    -- The canonical bytes whose SHA-256 is the id.
    manifest text not null,
    config text not null,
    openapi_schema text not null,
    cog_version text not null default '',
    created_by text not null,
    created_at bigint not null,
    deleted_at bigint,
    primary key (model_id, id)
);

create index version_by_age on version (model_id, created_at desc, id);
create index version_by_id on version (id);

-- The newest row of a tag is where it points; rolling back adds a row.
create table tag_move (
    model_id text not null references model (id),
    tag text not null,
    seq bigint not null,
    version_id text not null,
    moved_by text not null,
    moved_at bigint not null,
    primary key (model_id, tag, seq)
);

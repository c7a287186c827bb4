-- Deployments: a version with instances of its own. Every change is a release; releases are only ever added.

create table deployment (
    id text not null primary key,
    account_id text not null references account (id),
    owner text not null,
    name text not null,
    created_at bigint not null,
    deleted_at bigint
);

-- The name of a deleted one may be used again.
create unique index deployment_by_name on deployment (owner, name) where deleted_at is null;
create index deployment_of_account on deployment (account_id, created_at desc, id) where deleted_at is null;

-- The highest number is the release that runs.
create table deployment_release (
    deployment_id text not null references deployment (id),
    number bigint not null check (number >= 1),
    model_owner text not null,
    model_name text not null,
    version_id text not null,
    hardware text not null,
    instances_min bigint not null check (instances_min >= 0),
    instances_max bigint not null check (instances_max >= instances_min),
    created_by text not null references account (id),
    created_at bigint not null,
    primary key (deployment_id, number)
);

create index prediction_of_deployment on prediction (deployment) where deployment is not null and completed_at is null;

-- What a repository holds for OCI clients: its manifests, what each of them names, and the blobs that wait for one that names them.

-- A manifest that is also in `version` under its digest is a version; the others are whatever their media type says. Bytes are in the object store.
create table manifest (
    model_id text not null references model (id),
    digest text not null,
    media_type text not null,
    artifact_type text not null default '',
    -- The manifest that this one is about, whether it is here or not.
    subject text,
    annotations text not null default '{}',
    size bigint not null check (size >= 0),
    -- How many manifests stand below this one, one under another.
    depth bigint not null default 0 check (depth >= 0),
    created_at bigint not null,
    primary key (model_id, digest)
);

create index manifest_by_subject on manifest (model_id, subject);
create index manifest_by_digest on manifest (digest);

create table named_blob (
    model_id text not null references model (id),
    digest text not null,
    manifest text not null,
    primary key (model_id, digest, manifest)
);

create index named_blob_by_manifest on named_blob (model_id, manifest);
create index named_blob_by_digest on named_blob (digest);

-- Uploaded or mounted into a repository; readable by who brought it until a manifest names it.
create table loose_blob (
    model_id text not null references model (id),
    digest text not null,
    account_id text not null references account (id),
    created_at bigint not null,
    primary key (model_id, digest)
);

create index loose_blob_by_digest on loose_blob (digest);

-- Signatures over versions: the operator's, that it was published here, and the publisher's, over its files.

-- Every key that an operator of this installation ever signed with.
create table operator_key (
    id text not null primary key,
    public_key text not null,
    created_at bigint not null
);

create table version_signature (
    model_id text not null references model (id),
    version_id text not null,
    signer text not null check (signer in ('operator', 'publisher')),
    key_id text not null,
    -- A Sigstore bundle, as it was sent or made.
    bundle text not null,
    signed_at bigint not null,
    primary key (model_id, version_id, signer, key_id)
);

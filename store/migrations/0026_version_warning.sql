-- What was found in a version's files when it was published. By the version's id, which names the same files in every model.
create table version_warning (
    version_id text primary key,
    warnings text not null
);

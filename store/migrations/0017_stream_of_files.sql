-- Whether each output of the stream is a file: released clients judge by the stream's address.

alter table prediction add column streams_files bigint not null default 0 check (streams_files in (0, 1));

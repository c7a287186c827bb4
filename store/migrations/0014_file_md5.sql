-- The other checksum that a file is told with; files of before have none.

alter table file add column md5 text;

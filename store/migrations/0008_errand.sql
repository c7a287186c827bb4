-- Trainings take the same road as predictions: what is asked of the model, and the model that a training makes a version of.

alter table prediction add column errand text not null default 'predict' check (errand in ('predict', 'train'));
alter table prediction add column destination text;

create index training_of_account on prediction (account_id, created_at desc, id) where errand = 'train';

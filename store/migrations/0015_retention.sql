-- Finds the predictions whose data is due for removal.

create index prediction_by_end on prediction (completed_at) where data_removed = 0;

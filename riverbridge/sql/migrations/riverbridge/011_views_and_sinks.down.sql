DELETE FROM /* schema */riverbridge_history WHERE facet = 'sink';

ALTER TABLE /* schema */riverbridge_history
    DROP CONSTRAINT facet_is_known,
    ADD CONSTRAINT facet_is_known CHECK (facet IN ('all', 'queue', 'kind'));

DROP TABLE /* schema */riverbridge_view;

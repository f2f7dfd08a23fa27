DROP TABLE /* schema */riverbridge_view;

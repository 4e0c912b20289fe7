-- Run once by the postgres image, on an empty data volume. SignFlow's own database is made by POSTGRES_DB.
CREATE DATABASE mlflow;

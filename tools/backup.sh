#!/usr/bin/env bash
# Saves and restores what a server from docker-compose.prod.yml must not lose: both databases (feedback clips, trainings, runs),
# the data folder (models, the operator's token), MLflow's artifacts. The server goes on while it is saved.
#   tools/backup.sh save [FOLDER]               into FOLDER, or backups/<time>
#   tools/backup.sh restore FOLDER              says what it would overwrite
#   tools/backup.sh restore FOLDER --execute    stops the server, overwrites, starts it again
# COMPOSE_FILE names another compose file.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
compose() { docker compose -f "${COMPOSE_FILE:-docker-compose.prod.yml}" "$@"; }
FILES="signflow.dump mlflow.dump data.tar mlflow-artifacts.tar"

save() {
  local folder=${1:-backups/$(date -u +%Y%m%dT%H%M%SZ)}
  umask 077
  mkdir -p "$folder.partial"
  compose exec -T postgres pg_dump --username signflow --format custom signflow >"$folder.partial/signflow.dump"
  compose exec -T postgres pg_dump --username signflow --format custom mlflow >"$folder.partial/mlflow.dump"
  compose exec -T backend tar --create --directory /data . >"$folder.partial/data.tar"
  compose exec -T mlflow tar --create --directory /artifacts . >"$folder.partial/mlflow-artifacts.tar"
  mv "$folder.partial" "$folder" # only a complete one has the name
  echo "saved in $folder: $(du -sh "$folder" | cut -f1)"
}

restore() {
  local folder=$1 file
  for file in $FILES; do
    if [ ! -s "$folder/$file" ]; then
      echo "$folder has no $file: this is no complete backup" >&2
      exit 1
    fi
  done
  if [ "${2:-}" != --execute ]; then
    echo "would stop backend, worker and mlflow, overwrite both databases, the data folder and MLflow's artifacts from $folder,"
    echo "and start them again; add --execute to do it"
    exit 0
  fi
  compose stop backend worker mlflow
  compose up --detach --wait postgres
  for file in signflow mlflow; do
    compose exec -T postgres pg_restore --username signflow --dbname "$file" --clean --if-exists --single-transaction \
      <"$folder/$file.dump"
  done
  compose run --rm --no-deps -T --entrypoint tar backend --extract --directory /data --file - <"$folder/data.tar"
  compose run --rm --no-deps -T --entrypoint tar mlflow --extract --directory /artifacts --file - <"$folder/mlflow-artifacts.tar"
  compose up --detach
  echo "restored from $folder"
}

case "${1:-}" in
  save) save "${2:-}" ;;
  restore)
    [ -n "${2:-}" ] || { echo "which folder? $0 restore FOLDER [--execute]" >&2 && exit 2; }
    restore "$2" "${3:-}"
    ;;
  *) sed -n '2,7p' "$0" >&2 && exit 2 ;;
esac

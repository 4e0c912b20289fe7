#!/usr/bin/env bash
# Adds the secrets that docker-compose*.yml want and that .env does not have yet: random ones, and addresses to fill in.
#   tools/make-secrets.sh [FILE]   FILE is .env unless given; what is there stays as it is
set -eu
file=${1:-.env}

umask 077
touch "$file"
chmod 600 "$file"
if [ -s "$file" ] && [ -n "$(tail -c 1 "$file")" ]; then echo >>"$file"; fi

add() { # a name and a value
  if ! grep -q "^$1=." "$file"; then
    printf '%s=%s\n' "$1" "$2" >>"$file"
    echo "$file: $1 added"
  fi
}

for name in SIGNFLOW_OPERATOR_TOKEN POSTGRES_PASSWORD REDIS_PASSWORD GRAFANA_PASSWORD; do
  add "$name" "$(openssl rand -hex 24)"
done
for name in PAGER_WEBHOOK_URL TICKET_WEBHOOK_URL; do
  add "$name" "https://chat.invalid/put-the-address-of-your-incoming-webhook-here"
done

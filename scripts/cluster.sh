#!/usr/bin/env bash
# A cluster on this machine to try things on: cluster.sh up|down
# Three control nodes, three data nodes in three zones, and HAProxy in front of them, all on loopback, all below one folder.
# Settings of the nodes are taken from the environment, such as GOPROXYD_UPSTREAM. Whatever broke off, `up` goes on from there.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
# Spelt in one way, since processes are known by it.
home=$(realpath -ms "${GOPROXY_CLUSTER_DIR:-${XDG_STATE_HOME:-$HOME/.local/state}/goproxyd-cluster}")
bin=$root/bin
vip=127.0.0.1:8080
# How long a process may take to end: the drain of goproxyd, and what comes after it.
end_seconds=35

control() { echo "127.0.0.1:$((8100 + $1))"; }
admin() { echo "127.0.0.1:$((8110 + $1))"; } # a control node's
serves() { echo "127.0.0.1:$((8120 + $1))"; } # a data node
servers=$(control 1),$(control 2),$(control 3)
ctl() {
  "$bin/goproxyctl" --server "$servers" --ca "$home/control-1/ca.pem" --token-file "$home/control-1/admin.token" "$@"
}
fail() {
  echo "error: $*; the logs are in $home" >&2
  exit 1
}

# start NAME PROGRAM ARGUMENT... : in the background, its log and process id beside its data
start() {
  local name=$1
  shift
  # The id is written before there is anything to end.
  (echo "$BASHPID" >"$home/$name.pid" && exec nohup "$@") >>"$home/$name.log" 2>&1 &
  # Until then it is this script under another id.
  until runs "$name" || ! kill -0 $! 2>/dev/null; do sleep 0.01; done
}

# runs NAME : whether the process started as NAME is there. After a while, or a reboot, its id may be that of another one.
runs() {
  local pid words=() word program=
  pid=$(cat "$home/$1.pid" 2>/dev/null) || return 1
  { mapfile -d '' -t words <"/proc/${pid:-none}/cmdline"; } 2>/dev/null || return 1
  for word in "${words[@]}"; do
    case $word in
      goproxyd | */goproxyd | haproxy | */haproxy) program=$word ;;
      "$home/$1" | "$home/$1.cfg") [ -z "$program" ] || return 0 ;;
    esac
  done
  return 1
}

# wait_for SECONDS WHAT COMMAND... : until the command succeeds
wait_for() {
  local until=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $until ] || fail "$what is not there"
    sleep 0.1
  done
}

# wait_ready NAME ADDRESS : until the process started as NAME is ready there
wait_ready() {
  local until=$((SECONDS + 30)) name=$1 url=http://$2/readyz last
  while runs "$name"; do
    ! curl -fsS -m 2 "$url" >/dev/null 2>&1 || return 0
    [ $SECONDS -lt $until ] || fail "$name is not ready"
    sleep 0.1
  done
  last=$(tail -n 1 "$home/$name.log")
  fail "$name has ended${last:+: $last}"
}

# is_well member|node NAME FIELD VALUES : whether it is heard of, and the field has one of the values
is_well() {
  local told pattern="\"name\":\"$2\",[^{}]*\"$3\":\"($4)\",[^{}]*\"health\":\"ok\""
  told=$(ctl "$1" list -o json | tr -d ' \n') && [[ $told =~ $pattern ]]
}

# has_joined NAME : whether it has credentials; it goes on by them
has_joined() { [ -e "$home/$1/control/node.pem" ] || [ -e "$home/$1/node/node.pem" ]; }

# invite NAME VERB... : leaves a token in NAME.token. Whoever was let in before and broke off without credentials is not invited anew:
# the token that he had lets him in again, so it is kept until he has joined.
invite() {
  local name=$1 told
  shift
  if told=$(ctl "$@" -o json 2>&1); then
    (umask 077 && sed -n 's/^ *"join_token": "\(.*\)",*$/\1/p' <<<"$told" >"$home/$name.token.new")
    mv "$home/$name.token.new" "$home/$name.token"
  fi
  [ -s "$home/$name.token" ] || fail "$name cannot be added: $told"
}

control_node() { # NUMBER ARGUMENT...
  local name=control-$1 number=$1
  shift
  start "$name" "$bin/goproxyd" control --name "$name" --data-dir "$home/$name" --log-format json \
    --rpc-listen "$(control "$number")" --admin-listen "$(admin "$number")" "$@"
}

data_node() { # NUMBER ARGUMENT...
  local name=data-$1 number=$1
  shift
  start "$name" "$bin/goproxyd" data --name "$name" --data-dir "$home/$name" --log-format json --listen "$(serves "$number")" \
    --admin-listen "127.0.0.1:$((8130 + number))" --rpc-listen "127.0.0.1:$((8140 + number))" --zone "zone-$number" "$@"
}

up() {
  if is_up; then
    echo "it runs already"
    tell
    return
  fi
  down
  mkdir -p "$home"
  control_plane
  data_plane
  ctl lb render haproxy --listen "$vip" --algorithm least-conn >"$home/haproxy.cfg"
  # It would be taken for HAProxy's answer.
  ! curl -s -m 2 -o /dev/null "http://$vip/readyz" || fail "another program answers at $vip"
  start haproxy haproxy -W -f "$home/haproxy.cfg"
  wait_ready haproxy "$vip"
  tell
}

control_plane() {
  local number name members=()
  if ! has_joined control-1; then
    # It would make a cluster that is not theirs.
    ! compgen -G "$home/*/*/node.pem" >/dev/null || fail "control-1 has lost what the others have: remove $home to begin anew"
    control_node 1 --bootstrap
    wait_ready control-1 "$(admin 1)"
  fi
  # All that are in the cluster before anything is asked of it: without a majority of them nothing is answered.
  for number in 1 2 3; do
    ! has_joined "control-$number" || members+=("$number")
  done
  for number in "${members[@]}"; do
    runs "control-$number" || control_node "$number"
  done
  for number in "${members[@]}"; do wait_ready "control-$number" "$(admin "$number")"; done
  wait_for 30 "the control plane" ctl cluster status
  for number in 2 3; do
    name=control-$number
    if ! has_joined "$name"; then
      invite "$name" member add "$name"
      control_node "$number" --join "$(control 1)" --join-token "$(cat "$home/$name.token")"
      wait_ready "$name" "$(admin "$number")"
    fi
    rm -f "$home/$name.token"
  done
  for number in 1 2 3; do wait_for 30 "control-$number, a voter," is_well member "control-$number" role voter; done
}

data_plane() {
  local number name again
  for number in 1 2 3; do
    name=data-$number again=()
    if ! has_joined "$name"; then
      invite "$name" node add "$name" --zone "zone-$number"
      again=(--join "$servers" --join-token "$(cat "$home/$name.token")")
    fi
    data_node "$number" "${again[@]}"
    wait_ready "$name" "$(serves "$number")"
    rm -f "$home/$name.token"
  done
  # Whoever tried a cordon or a drain finds it as he left it.
  for number in 1 2 3; do
    wait_for 30 "data-$number, active," is_well node "data-$number" state 'active|cordoned|draining'
  done
}

is_up() {
  local name
  for name in control-{1,2,3} data-{1,2,3} haproxy; do runs "$name" || return 1; done
  curl -fsS -m 2 "http://$vip/readyz" >/dev/null 2>&1
}

tell() {
  cat <<END

A cluster runs on this machine; its data and logs are in $home.

  export GOPROXY='http://$vip|http://$vip/'
  export GOPROXYCTL_SERVER=$servers
  export GOPROXYCTL_CA=$home/control-1/ca.pem
  export GOPROXYCTL_TOKEN_FILE=$home/control-1/admin.token
  bin/goproxyctl cluster status

\`make cluster-down\` ends it and keeps its data; remove the folder to begin anew.
END
}

down() {
  local file name until failed=0
  for file in "$home"/*.pid; do
    name=$(basename "$file" .pid)
    if runs "$name"; then
      kill "$(cat "$file")" 2>/dev/null || true
    else
      rm -f "$file"
    fi
  done
  until=$((SECONDS + end_seconds))
  for file in "$home"/*.pid; do
    [ -e "$file" ] || continue
    name=$(basename "$file" .pid)
    ends "$name" $((until - SECONDS)) || {
      echo "$name has not ended in $end_seconds s and is killed" >&2
      kill -KILL "$(cat "$file")" 2>/dev/null || true
    }
    if ends "$name" 5; then
      rm -f "$file"
    else
      echo "error: $name does not end; its process id stays in $file" >&2
      failed=1
    fi
  done
  return $failed
}

# ends NAME SECONDS : whether the process started as NAME is gone by then
ends() {
  local until=$((SECONDS + $2))
  while runs "$1"; do
    [ $SECONDS -lt $until ] || return 1
    sleep 0.1
  done
}

case ${1:?usage: cluster.sh up|down} in
  up) up ;;
  down) down ;;
  *) echo "usage: cluster.sh up|down" >&2; exit 2 ;;
esac

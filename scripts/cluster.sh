#!/usr/bin/env bash
# A cluster on this machine to try things on: cluster.sh up|down
# Three control nodes, three data nodes in three zones, and HAProxy in front of them, all on loopback, all below one folder.
# Settings of the nodes are taken from the environment, such as GOPROXYD_UPSTREAM.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
home=${GOPROXY_CLUSTER_DIR:-${XDG_STATE_HOME:-$HOME/.local/state}/goproxyd-cluster}
bin=$root/bin
vip=127.0.0.1:8080

control() { echo "127.0.0.1:$((8100 + $1))"; }
ctl() {
  "$bin/goproxyctl" --server "$(control 1),$(control 2),$(control 3)" --ca "$home/control-1/ca.pem" \
    --token-file "$home/control-1/admin.token" "$@"
}
field() { sed -n "s/^ *\"$1\": \"\(.*\)\",*\$/\1/p" | head -n 1; }

# start NAME ARGUMENT... : in the background, its log and process id beside its data
start() {
  local name=$1
  shift
  nohup "$bin/goproxyd" "$@" --name "$name" --data-dir "$home/$name" --log-format json >>"$home/$name.log" 2>&1 &
  echo $! >"$home/$name.pid"
}

# wait_for SECONDS WHAT COMMAND... : until the command succeeds
wait_for() {
  local until=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $until ] || { echo "error: $what is not there; the logs are in $home" >&2; exit 1; }
    sleep 0.1
  done
}

control_node() { # NUMBER ARGUMENT...
  local number=$1
  shift
  start "control-$number" control --rpc-listen "$(control "$number")" --admin-listen "127.0.0.1:$((8110 + number))" "$@"
}

data_node() { # NUMBER ARGUMENT...
  local number=$1
  shift
  start "data-$number" data --listen "127.0.0.1:$((8120 + number))" --admin-listen "127.0.0.1:$((8130 + number))" \
    --rpc-listen "127.0.0.1:$((8140 + number))" --zone "zone-$number" "$@"
}

token() { field join_token; }

up() {
  if is_up; then
    echo "it runs already"
    tell
    return
  fi
  down
  mkdir -p "$home"
  if [ -e "$home/control-1/ca.pem" ]; then
    for number in 1 2 3; do control_node "$number"; done
  else
    control_node 1 --bootstrap
    wait_for 30 "the first control node" ctl cluster status
    for number in 2 3; do
      control_node "$number" --join "$(control 1)" --join-token "$(ctl member add "control-$number" -o json 2>/dev/null | token)"
      wait_for 30 "control node $number" curl -fsS "http://127.0.0.1:$((8110 + number))/readyz"
    done
  fi
  wait_for 30 "the control plane" ctl cluster status
  for number in 1 2 3; do
    local again=()
    if ! [ -e "$home/data-$number/node/node.pem" ]; then
      again=(--join "$(control 1),$(control 2),$(control 3)"
        --join-token "$(ctl node add "data-$number" --zone "zone-$number" -o json 2>/dev/null | token)")
    fi
    data_node "$number" "${again[@]}"
    wait_for 30 "data node $number" curl -fsS "http://127.0.0.1:$((8120 + number))/readyz"
  done
  wait_for 30 "the list of data nodes" ctl lb render haproxy
  ctl lb render haproxy --listen "$vip" --algorithm least-conn >"$home/haproxy.cfg"
  nohup haproxy -W -f "$home/haproxy.cfg" >>"$home/haproxy.log" 2>&1 &
  echo $! >"$home/haproxy.pid"
  wait_for 30 "the load balancer" curl -fsS "http://$vip/readyz"
  tell
}

is_up() { curl -fsS -m 2 "http://$vip/readyz" >/dev/null 2>&1 && [ -e "$home/haproxy.pid" ]; }

tell() {
  cat <<END

A cluster runs on this machine; its data and logs are in $home.

  export GOPROXY='http://$vip|http://$vip/'
  export GOPROXYCTL_SERVER=$(control 1),$(control 2),$(control 3)
  export GOPROXYCTL_CA=$home/control-1/ca.pem
  export GOPROXYCTL_TOKEN_FILE=$home/control-1/admin.token
  bin/goproxyctl cluster status

\`make cluster-down\` ends it and keeps its data; remove the folder to begin anew.
END
}

down() {
  local file pid
  for file in "$home"/*.pid; do
    [ -e "$file" ] || continue
    pid=$(cat "$file")
    kill "$pid" 2>/dev/null || true
  done
  for file in "$home"/*.pid; do
    [ -e "$file" ] || continue
    pid=$(cat "$file")
    for _ in $(seq 350); do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.1
    done
    rm -f "$file"
  done
}

case ${1:?usage: cluster.sh up|down} in
  up) up ;;
  down) down ;;
  *) echo "usage: cluster.sh up|down" >&2; exit 2 ;;
esac

# Runs a Docker Engine and two registries as the first process of their namespaces:
# when it ends, so does everything in them. Ends with its input; obeys the lines
# `freeze`, `kill` and `start`, and says when it has.
#
# $1: the folder of the socket and the data, $2: the name of the control group.
folder=$1
group=$2
socket=$folder/engine.sock

start() {
    rm -f "$folder/dockerd.pid"
    dockerd --host "unix://$socket" --data-root "$folder/data" --exec-root "$folder/exec" \
        --pidfile "$folder/dockerd.pid" --cgroup-parent "/$group" --shutdown-timeout 1 \
        --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false \
        >>"$folder/log" 2>&1 </dev/null &
    engine=$!
}

# What the engine writes outside its folder goes there too. Where that cannot be had,
# as in a container, a few empty folders stay behind.
for place in etc opt run; do
    mkdir -p "$folder/over/$place" "$folder/work/$place"
    mount -t overlay overlay "/$place" 2>/dev/null \
        -o "lowerdir=/$place,upperdir=$folder/over/$place,workdir=$folder/work/$place"
done
busybox ip link set lo up
cat >"$folder/registry.yml" <<END
version: 0.1
storage: {filesystem: {rootdirectory: $folder/registry}}
http: {addr: 127.0.0.1:5000}
END
docker-registry serve "$folder/registry.yml" >"$folder/registry.log" 2>&1 </dev/null &
# One that wants a login: drover with the password hay.
echo 'drover:$2b$05$BdU47FGUSbLe2Fa9D5mSRe6UFQJwo.8v2GDPGw/Hss0zovXi8ELlK' >"$folder/users"
cat >"$folder/guarded.yml" <<END
version: 0.1
storage: {filesystem: {rootdirectory: $folder/guarded}}
http: {addr: 127.0.0.1:5001}
auth: {htpasswd: {realm: hay, path: $folder/users}}
END
docker-registry serve "$folder/guarded.yml" >"$folder/guarded.log" 2>&1 </dev/null &
start
while read -r order; do
    case $order in
        freeze) kill -STOP "$engine" ;;
        kill)
            kill -9 "$engine"
            wait "$engine"
            # Its containerd dies with it. The next engine would wait in vain for
            # one that is dead and not reaped yet.
            pidfile=$folder/exec/containerd/containerd.pid
            read -r containerd <"$pidfile" && kill -9 "$containerd"
            rm -f "$pidfile"
            ;;
        start) start ;;
    esac
    echo "$order"
done

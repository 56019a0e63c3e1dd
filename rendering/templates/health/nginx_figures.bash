## nginx has no figures of its own about memory and CPU time, and nothing else may look into its container. So its
## health check sums them over its processes (proc(5): utime, stime and rss) for nginx itself to serve to Prometheus.
{
ticks=0 pages=0
for stat in /proc/[0-9]*/stat; do
  read -r line 2>/dev/null <"$stat" && [[ $line == *"(nginx)"* ]] || continue
  set -- ${line##*) }
  ticks=$((ticks + ${12} + ${13})) pages=$((pages + ${22}))
done
hundredths=$((ticks * 100 / $(getconf CLK_TCK)))
printf '# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total %d.%02d\n' \
  $((hundredths / 100)) $((hundredths % 100)) >/tmp/process.new
printf '# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes %d\n' \
  $((pages * $(getconf PAGESIZE))) >>/tmp/process.new
mv /tmp/process.new /tmp/process.prom
true
}

#!/bin/sh
# Why are there "too many open files"? Limits, who uses them, and what to do about it, on a machine without Node.
# `spacedrive doctor` knows more, and can mend. This changes nothing; it exits with 1 where something needs mending.
# POSIX sh with ps, awk, sed and sort; Linux and macOS. On macOS it asks sysctl, launchctl and lsof as well.
set -u
LC_ALL=C
export LC_ALL

enough=10000      # LIMITS.softWarn in src/base/limits.ts; a test compares these
wanted=65536      # LIMITS.softRecommended
most=1048576      # LIMITS.softMax: a boot raises the soft limit no further
floor=56          # LIMITS.hardFloor
listed=10         # LIMITS.doctorHungryMax
entry='dist/src/cli/main\.js'
system=$(uname -s)
wrong=0
hints=0

case ${1:-} in
'') ;;
*)
  echo "usage: $0"
  echo "Tells why there may be too many open files, and what to do. Changes nothing."
  echo "Exit code: 0 all is well, 1 something needs mending, 2 usage."
  case $1 in -h | --help) exit 0 ;; *) exit 2 ;; esac
  ;;
esac

blank=
section() { printf '%s%s\n' "$blank" "$1" && blank='
'; }
fact() { printf '  %-14s%s\n' "$1" "$2"; }
finding() { wrong=$((wrong + 1)); printf '! %s\n' "$1"; }
hint() { hints=$((hints + 1)); printf '. %s\n' "$1"; }
mend() { printf '    %s\n' "$1"; }
is_number() { case $1 in '' | *[!0-9]*) return 1 ;; esac }
# usage: less A B : whether the limit A is a number and below B
less() { is_number "$1" && [ "$1" -lt "$2" ]; }
read_file() { sed -n 1p "$1" 2>/dev/null; }
has() { command -v "$1" >/dev/null 2>&1; }

# shellcheck disable=SC3045 # -S and -H are not POSIX, but every sh of Linux, BSD and macOS has them
read_limits() {
  soft=$(ulimit -Sn)
  hard=$(ulimit -Hn)
  case $system in
  Darwin)
    files=$(sysctl -n kern.maxfiles 2>/dev/null)
    files_open=$(sysctl -n kern.num_files 2>/dev/null)
    per_process=$(sysctl -n kern.maxfilesperproc 2>/dev/null)
    ;;
  *)
    files=$(read_file /proc/sys/fs/file-max)
    files_open=$(awk '{ print $1 }' /proc/sys/fs/file-nr 2>/dev/null)
    per_process=$(read_file /proc/sys/fs/nr_open)
    ;;
  esac
}

show_limits() {
  section 'limits on open files'
  fact 'this shell' "soft $soft, hard $hard"
  fact 'one process' "at most ${per_process:-not told}"
  fact 'all of them' "${files_open:-?} of ${files:-not told} open"
  if [ "$system" = Darwin ] && has launchctl; then
    launchd=$(launchctl limit maxfiles 2>/dev/null | awk '{ print "soft " $2 ", hard " $3 }')
    fact launchd "${launchd:-not told}"
  fi
  origin=$(limit_origin)
  [ -n "$origin" ] && fact 'written in' "$origin"
  in_container && fact container "yes: its runtime sets the limit"
}

# The files that set this limit for logins, with their lines.
limit_origin() {
  for file in /etc/security/limits.conf /etc/security/limits.d/*.conf; do
    [ -r "$file" ] || continue
    awk -v file="$file" '!/^[ \t]*#/ && $3 == "nofile" { print file ":" NR ": " $1 " " $2 " " $4 }' "$file"
  done | head -n 5 | awk 'NR > 1 { printf "\n                " } { printf "%s", $0 }'
}

in_container() { [ -e /.dockerenv ] || [ -e /run/.containerenv ]; }

# One line a process: OPEN PID UID STATE COMMAND…  Linux: what of /proc this user may read.
list_processes() {
  case $system in
  Darwin) list_by_lsof ;;
  *) list_by_proc ;;
  esac
}

list_by_proc() {
  for folder in /proc/[0-9]*; do
    pid=${folder#/proc/}
    [ "$pid" = $$ ] && continue
    set -- "$folder"/fd/*
    [ -e "$1" ] || [ -L "$1" ] || continue
    # In this order: of a process that has ended meanwhile the shell itself would tell.
    words=$(tr '\0\n' '  ' 2>/dev/null <"$folder/cmdline")
    [ -n "$words" ] || words="[$(read_file "$folder/comm")]"
    about=$(awk '/^State:/ { state = $2 } /^Uid:/ { uid = $2 } END { print uid, state }' "$folder/status" 2>/dev/null)
    [ -n "$about" ] && echo "$# $pid $about $words"
  done
}

list_by_lsof() {
  {
    ps -axww -o pid= -o uid= -o stat= -o command= | awk '{ print "P", $0 }'
    lsof -nPw -F pf 2>/dev/null
  } | awk '
    $1 == "P" { pid = $2; about[pid] = $3 " " substr($4, 1, 1); $1 = $2 = $3 = $4 = ""; sub(/^ +/, ""); words[pid] = $0; next }
    /^p/ { pid = substr($0, 2) }
    /^f[0-9]/ { open[pid]++ }
    END { for (pid in open) if (pid in words) print open[pid], pid, about[pid], words[pid] }'
}

limit_of() {
  awk '/^Max open files/ { print $4 }' "/proc/$1/limits" 2>/dev/null
}

# Prints the data directory of a process, from its words, else from its environment.
data_dir_of() {
  # shellcheck disable=SC2086 # the words of a command line, apart
  set -- "$1" $2
  directory=$(readlink "/proc/$1/cwd" 2>/dev/null)
  given=$(environment_of "$1" SPACEDRIVE_DATA_DIR)
  instance=$(environment_of "$1" SPACEDRIVE_INSTANCE)
  shift
  while [ $# -gt 0 ]; do
    case $1 in
    --data-dir) given=${2:-} ;;
    --data-dir=*) given=${1#*=} ;;
    --instance) instance=${2:-} ;;
    --instance=*) instance=${1#*=} ;;
    esac
    shift
  done
  case $system in
  Darwin) usual="$HOME/Library/Application Support/Spacedrive" ;;
  *) usual=${XDG_DATA_HOME:-$HOME/.local/share}/spacedrive ;;
  esac
  case $given in '' | /*) ;; *) given=${directory:-.}/$given ;; esac
  echo "${given:-$usual}${instance:+/instances/$instance}"
}

# usage: environment_of PID NAME : on Linux, of one's own processes
environment_of() {
  [ -r "/proc/$1/environ" ] && tr '\0' '\n' 2>/dev/null <"/proc/$1/environ" | sed -n "s/^$2=//p"
}

# Where the path was too long for a socket, the state file names another.
socket_of() {
  named=$(sed -n 's/.*"socket":"\([^"]*\)".*/\1/p' "$1/daemon.json" 2>/dev/null)
  echo "${named:-$1/daemon.sock}"
}

health_of() { curl -s -m 2 --unix-socket "$1" http://localhost/health 2>/dev/null; }

show_spacedrive() {
  section 'spacedrive processes'
  ours=$(printf '%s\n' "$processes" | grep "$entry start\|$entry .* start")
  [ -n "$ours" ] || fact none 'no daemon runs here that this user may look at'
  while read -r open pid uid state words; do
    [ -n "$open" ] || continue
    at_most=$(limit_of "$pid")
    fact "pid $pid" "$open open of ${at_most:-a limit that is not told}, user $uid"
    judge "$open" "$pid" "$state" "$at_most" "$(data_dir_of "$pid" "$words")"
  done <<LIST
$ours
LIST
}

# usage: judge OPEN PID STATE LIMIT DATA_DIR
judge() {
  case $3 in
  T* | t*)
    finding "the daemon, pid $2, was stopped by a signal and answers nobody:"
    mend "kill -CONT $2"
    return
    ;;
  esac
  if is_number "$4" && [ "$1" -ge $(($4 * 95 / 100)) ]; then
    finding "the daemon, pid $2, holds $1 of its $4 descriptors:"
    mend "spacedrive fds     # who holds them"
  fi
  socket=$(socket_of "$5")
  if ! has curl; then
    fact '' 'whether it answers was not asked: there is no curl here'
  elif ! [ -S "$socket" ]; then
    fact '' 'whether it answers was not asked: its socket was not found'
  elif [ -z "$(health_of "$socket")" ]; then
    finding "the daemon, pid $2, is alive but does not answer on its socket:"
    mend "kill $2          # it drains within 10 seconds"
    mend "kill -9 $2       # if it does not; nothing committed is lost"
  else
    fact '' 'it answers'
  fi
}

show_others() {
  section 'other programs with the most open files'
  printf '%s\n' "$processes" | grep -v "$entry" | sort -rn | head -n "$listed" |
    awk -v me="$(id -u)" '{
      # Of other users only the name of the program is shown.
      name = $5; sub(/.*\//, "", name)
      printf "  %8d  pid %-8d%s%s\n", $1, $2, substr(name, 1, 40), $3 == me ? "" : " (user " $3 ")"
    }'
}

show_watches() {
  [ "$system" = Linux ] || return 0
  section 'inotify, for each user'
  fact instances "at most $(read_file /proc/sys/fs/inotify/max_user_instances)"
  fact watches "at most $(read_file /proc/sys/fs/inotify/max_user_watches)"
}

advise() {
  section 'what to do'
  advise_hard
  if [ "$system" = Darwin ] && less "$soft" "$enough" && ! less "$hard" "$wanted"; then
    finding "programs of this shell may open $soft files; for those of new terminals:"
    mend "echo 'ulimit -n $wanted' >> ~/.zshrc"
  fi
  if is_number "$files" && is_number "$files_open" && [ "$files_open" -ge $((files * 9 / 10)) ]; then
    finding "all programs together have $files_open of $files files open:"
    case $system in
    Darwin) mend "sudo sysctl -w kern.maxfiles=$((files * 2))" ;;
    *) mend "sudo sysctl -w fs.file-max=$((files * 2))" ;;
    esac
  fi
  if [ "$system" = Linux ] && less "$per_process" "$wanted"; then
    finding "no process may open more than $per_process files:"
    mend "sudo sysctl -w fs.nr_open=$most"
  fi
  return 0
}

# The hard limit decides: spacedrive raises its soft limit to it by itself.
advise_hard() {
  if less "$hard" "$floor"; then
    finding "the hard limit is $hard, and spacedrive needs at least $floor:"
  elif less "$hard" "$enough"; then
    finding "the hard limit is $hard; $enough serve well, $wanted are recommended:"
  elif less "$hard" "$wanted"; then
    hint "the hard limit is $hard; $wanted are recommended:"
  else
    return
  fi
  if [ "$system" = Darwin ]; then
    mend "sudo launchctl limit maxfiles $wanted 524288"
    mend '# until the next boot; then open a new terminal'
    return
  fi
  if in_container; then
    mend "docker run --ulimit nofile=$wanted:$wanted ..."
    return
  fi
  user=$(id -un)
  mend "sudo tee /etc/security/limits.d/spacedrive.conf <<'END'"
  mend "$user soft nofile $wanted"
  mend "$user hard nofile $wanted"
  mend 'END'
  mend '# holds from the next login on; for this shell alone:'
  # shellcheck disable=SC2016 # $$ is for the shell of whoever types it
  mend 'sudo prlimit --pid $$ --nofile='"$wanted:$wanted"
  if [ -d /run/systemd/system ]; then
    mend '# for a service of systemd: sudo systemctl edit spacedrive, and there'
    mend '[Service]'
    mend "LimitNOFILE=$wanted"
  fi
}

verdict() {
  section 'verdict'
  if [ "$wrong" -eq 1 ]; then
    echo '  not well: one thing needs mending, marked with ! above'
  elif [ "$wrong" -gt 1 ]; then
    echo "  not well: $wrong things need mending, marked with ! above"
  elif [ "$hints" -gt 0 ]; then
    echo '  all is well, with a hint, marked with . above'
  else
    echo '  all is well'
  fi
}

processes=$(list_processes)
read_limits
show_limits
show_spacedrive
show_others
show_watches
advise
verdict
[ "$wrong" -eq 0 ]

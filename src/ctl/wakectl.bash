# Completion of wakectl(1) for bash: verbs, their options, and the services of the configuration.

_wakectl() {
        local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} verb="" i
        local -A options=(
                [add]="--dry-run --name="
                [check]="--engine --json --unit="
                [disable]="--dry-run"
                [doctor]="--json --quiet"
                [enable]="--dry-run"
                [graph]="--format= --json"
                [hold]="--dry-run --for= --foreground --json --quiet --until="
                [import]="--compose= --dry-run --file= --project= --write"
                [list]="--filter= --json --quiet --watch"
                [logs]="--follow --lines= --no-pager --output= --reverse --since= --until="
                [plan]="--json"
                [reload]="--dry-run --force --json"
                [remove]="--dry-run"
                [run]="--quiet"
                [sleep]="--dry-run"
                [status]="--json"
                [wake]="--dry-run --json --quiet"
        )

        # An "=" is a word of its own.
        if [[ $word == "=" ]]; then
                word=
        elif [[ $previous == "=" ]]; then
                previous=${COMP_WORDS[COMP_CWORD - 2]}
        fi
        for ((i = 1; i < COMP_CWORD; i++)); do
                if [[ -n ${options[${COMP_WORDS[i]}]+known} ]]; then
                        verb=${COMP_WORDS[i]}
                        break
                fi
        done

        case $previous in
        --format) mapfile -t COMPREPLY < <(compgen -W "text dot mermaid json" -- "$word") && return ;;
        --filter) mapfile -t COMPREPLY < <(compgen -W "state" -S "=" -- "$word") && compopt -o nospace && return ;;
        state) mapfile -t COMPREPLY < <(compgen -W "asleep waking awake stopping failed unknown" -- "$word") && return ;;
        esac
        if [[ $word == -* ]]; then
                mapfile -t COMPREPLY < <(compgen -W "--help --version ${options[$verb]-}" -- "$word")
                [[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace
        elif [[ -z $verb ]]; then
                mapfile -t COMPREPLY < <(compgen -W "${!options[*]}" -- "$word")
        elif [[ $verb == reload || $verb == import || $verb == doctor ]]; then
                COMPREPLY=()
        elif [[ $verb == add ]]; then
                mapfile -t COMPREPLY < <(compgen -W "$(docker ps -a --format '{{.Names}}' 2>/dev/null)" -- "$word")
        elif [[ $verb == check ]]; then
                mapfile -t COMPREPLY < <(compgen -f -- "$word")
                compopt -o filenames
        else
                mapfile -t COMPREPLY < <(compgen -W "$(wakectl list -q 2>/dev/null)" -- "$word")
        fi
        return 0
}

complete -F _wakectl wakectl

#compdef wakectl
# Completion of wakectl(1) for zsh: verbs, their options, and the services of the configuration.

_wakectl_services() {
        local -a services=(${(f)"$(wakectl list -q 2>/dev/null)"})

        _describe -t services service services
}

_wakectl_containers() {
        local -a containers=(${(f)"$(docker ps -a --format '{{.Names}}' 2>/dev/null)"})

        _describe -t containers container containers
}

_wakectl() {
        local -a verbs=(
                'add:say what dependencies.json says of containers that compose has not made'
                'check:print every error of the configuration'
                'disable:take no clients of services, also after a boot'
                'doctor:look for all that may go wrong on this machine'
                'enable:take clients of services again'
                'graph:show what needs what'
                'hold:keep stacks awake though nobody uses them'
                'import:say what dependencies.json says of the compose projects here'
                'list:show all services'
                'logs:show what the journal has of a stack'
                'plan:show what a wake would start, in which order'
                'reload:have systemd read the units again, if they are other ones'
                'remove:take services out of the files that import and add have made'
                'run:run a command while a stack is held awake'
                'sleep:put stacks to sleep'
                'status:show all that is known of services'
                'wake:wake stacks, and show how it goes on'
        )
        local curcontext=$curcontext state line
        local -a options

        _arguments -C '(- *)'{-h,--help}'[show the help]' '(- *)--version[show the version]' '--no-pager[without a pager]' \
                '1:verb:->verb' '*::argument:->argument'
        case $state in
        verb) _describe -t verbs verb verbs ;;
        argument)
                case $line[1] in
                add) options=('--dry-run[only say what would be done]' '--name=[of the service]:name' '*:container:_wakectl_containers') ;;
                check) options=('--engine[also ask the engine]' '--json[print JSON]' '--unit=[who depends on it]:unit' '*:file:_files') ;;
                disable | enable | remove) options=('--dry-run[only say what would be done]' '*:service:_wakectl_services') ;;
                doctor) options=('--json[print JSON]' {-q,--quiet}'[only names of checks]') ;;
                graph) options=('--format=[how]:format:(text dot mermaid json)' '--json[print JSON]' '*:service:_wakectl_services') ;;
                hold) options=('--dry-run[only say what would be done]' '--for=[so long]:span' '--until=[until then]:time'
                        '--foreground[as long as this runs]' '--json[print JSON]' {-q,--quiet}'[only errors]' '*:service:_wakectl_services') ;;
                import) options=('*--compose=[of this folder]:folder:_files -/' '--dry-run[only say what would be done]'
                        '*'{-f+,--file=}'[this file of it]:file:_files' '--project=[only this one]:project' '--write[into the configuration]') ;;
                list) options=('--filter=[only these]:filter:(state=asleep state=waking state=awake state=stopping state=failed state=unknown)'
                        '--json[print JSON]' {-q,--quiet}'[only names]' '--watch[go on, as things change]') ;;
                logs) options=({-f,--follow}'[go on]' {-n+,--lines=}'[so many]:lines' {-o+,--output=}'[how]:output' {-r,--reverse}'[newest first]'
                        {-S+,--since=}'[from then on]:time' {-U+,--until=}'[until then]:time' '--no-pager[without a pager]' '1:service:_wakectl_services') ;;
                plan) options=('--json[print JSON]' '1:service:_wakectl_services') ;;
                reload) options=('--dry-run[only say what would be done]' '--force[also while containers with a GPU run]' '--json[print JSON]') ;;
                run) options=({-q,--quiet}'[only errors]' '1:service:_wakectl_services' '*::command:_normal') ;;
                sleep) options=('--dry-run[only say what would be done]' '*:service:_wakectl_services') ;;
                status) options=('--json[print JSON]' '*:service:_wakectl_services') ;;
                wake) options=('--dry-run[only say what would be done]' '--json[print JSON]' {-q,--quiet}'[only errors]' '*:service:_wakectl_services') ;;
                *) return 1 ;;
                esac
                _arguments $options
                ;;
        esac
}

_wakectl "$@"

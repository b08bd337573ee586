# Completion of wakectl(1) for fish: verbs, their options, and the services of the configuration.

function __wakectl_verb
    set -l words (commandline -opc)
    for word in $words[2..-1]
        string match -q -- '-*' $word; and continue
        echo $word
        return
    end
    return 1
end

function __wakectl_is
    contains -- (__wakectl_verb) $argv
end

function __wakectl_services
    wakectl list -q 2>/dev/null
end

complete -c wakectl -f
complete -c wakectl -s h -l help -d 'Show the help'
complete -c wakectl -l version -d 'Show the version'
complete -c wakectl -l no-pager -d 'Without a pager'

set -l none 'not __wakectl_verb >/dev/null'
complete -c wakectl -n $none -a add -d 'Say what dependencies.json says of containers that compose has not made'
complete -c wakectl -n $none -a check -d 'Print every error of the configuration'
complete -c wakectl -n $none -a disable -d 'Take no clients of services, also after a boot'
complete -c wakectl -n $none -a doctor -d 'Look for all that may go wrong on this machine'
complete -c wakectl -n $none -a enable -d 'Take clients of services again'
complete -c wakectl -n $none -a graph -d 'Show what needs what'
complete -c wakectl -n $none -a hold -d 'Keep stacks awake though nobody uses them'
complete -c wakectl -n $none -a import -d 'Say what dependencies.json says of the compose projects here'
complete -c wakectl -n $none -a list -d 'Show all services'
complete -c wakectl -n $none -a logs -d 'Show what the journal has of a stack'
complete -c wakectl -n $none -a plan -d 'Show what a wake would start, in which order'
complete -c wakectl -n $none -a reload -d 'Have systemd read the units again, if they are other ones'
complete -c wakectl -n $none -a remove -d 'Take services out of the files that import and add have made'
complete -c wakectl -n $none -a run -d 'Run a command while a stack is held awake'
complete -c wakectl -n $none -a sleep -d 'Put stacks to sleep'
complete -c wakectl -n $none -a status -d 'Show all that is known of services'
complete -c wakectl -n $none -a wake -d 'Wake stacks, and show how it goes on'

complete -c wakectl -n '__wakectl_is disable enable graph hold logs plan remove run sleep status wake' -a '(__wakectl_services)'
complete -c wakectl -n '__wakectl_is add' -a '(docker ps -a --format "{{.Names}}" 2>/dev/null)'
complete -c wakectl -n '__wakectl_is add' -l name -x -d 'Of the service'
complete -c wakectl -n '__wakectl_is check' -F
complete -c wakectl -n '__wakectl_is check' -l engine -d 'Also ask the engine'
complete -c wakectl -n '__wakectl_is check' -l unit -x -d 'Who depends on this unit'
complete -c wakectl -n '__wakectl_is add disable enable hold import reload remove sleep wake' -l dry-run -d 'Only say what would be done'
complete -c wakectl -n '__wakectl_is check doctor graph hold list plan reload status wake' -l json -d 'Print JSON'
complete -c wakectl -n '__wakectl_is doctor hold list run wake' -s q -l quiet -d 'Only names, or nothing'
complete -c wakectl -n '__wakectl_is graph' -l format -x -a 'text dot mermaid json' -d How
complete -c wakectl -n '__wakectl_is hold' -l for -x -d 'So long'
complete -c wakectl -n '__wakectl_is hold logs' -l until -x -d 'Until then'
complete -c wakectl -n '__wakectl_is hold' -l foreground -d 'As long as this runs'
complete -c wakectl -n '__wakectl_is import' -l compose -r -a '(__fish_complete_directories)' -d 'Of this folder'
complete -c wakectl -n '__wakectl_is import' -s f -l file -r -F -d 'This file of it'
complete -c wakectl -n '__wakectl_is import' -l project -x -d 'Only this one'
complete -c wakectl -n '__wakectl_is import' -l write -d 'Into the configuration'
complete -c wakectl -n '__wakectl_is list' -l filter -x -d 'Only these' -a 'state=asleep state=waking state=awake state=stopping state=failed state=unknown'
complete -c wakectl -n '__wakectl_is list' -l watch -d 'Go on, as things change'
complete -c wakectl -n '__wakectl_is logs' -s f -l follow -d 'Go on'
complete -c wakectl -n '__wakectl_is logs' -s n -l lines -x -d 'So many'
complete -c wakectl -n '__wakectl_is logs' -s o -l output -x -d How
complete -c wakectl -n '__wakectl_is logs' -s r -l reverse -d 'Newest first'
complete -c wakectl -n '__wakectl_is logs' -s S -l since -x -d 'From then on'
complete -c wakectl -n '__wakectl_is logs' -s U -x -d 'Until then'
complete -c wakectl -n '__wakectl_is reload' -l force -d 'Also while containers with a GPU run'

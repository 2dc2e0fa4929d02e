# Sourced: what each recipe needs to be told about the model and the data of pocket_cpu.sh, and no more.

# needed RECIPES: prints the overrides, one a line.
needed() {
    case $1 in
        *repro*)
            # Its thoughts are lines; the answer is one digit right after the end of thinking.
            echo $'softthink.repro.delimiters=["\\n"]'
            echo 'softthink.repro.lead_in="</think>"'
            echo 'softthink.repro.answer="{answer}"'
            ;;
        *attnrl*)
            # Responses of about 35 tokens.
            echo softthink.attnrl.spacing=6
            ;;
    esac
}

# Everything that a scenario may use.
# shellcheck shell=bash
for lab_part in common host image machines guest link check repd cluster writers fencer samba; do
    # shellcheck source=/dev/null
    . "$LAB_SOURCE/lib/$lab_part.sh"
done
unset lab_part

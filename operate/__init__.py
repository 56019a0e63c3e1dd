"""What the make targets drive: deploy, preview, destroy and show a stack. Thin over the `pulumi` command."""

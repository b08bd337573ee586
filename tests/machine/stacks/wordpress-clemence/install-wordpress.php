<?php
/* Run once in wordpress-clemence when the machine is prepared: what the form of wp-admin/install.php would do. */

$_SERVER['HTTP_HOST'] = 'localhost:9002';
define('WP_INSTALLING', true);
require '/usr/share/wordpress/wp-load.php';
require ABSPATH . 'wp-admin/includes/upgrade.php';

/* No mail is sent from here. */
function wp_new_blog_notification(...$arguments) {}

$result = wp_install('clemence', 'admin', 'admin@localhost.localdomain', true, '', 'clemence-42');
switch_theme('twentytwentyfive');
echo 'installed for user ', $result['user_id'], "\n";
